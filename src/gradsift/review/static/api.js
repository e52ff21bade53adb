// Requests to the server. Saves go one after another, in the order of the keys; what has not arrived is kept and told.

export async function get(path) {
  const answer = await fetch(path, { headers: { accept: "application/json, text/html" } });
  if (!answer.ok) throw new Error(await reason(answer));
  return answer.headers.get("content-type").includes("json") ? answer.json() : answer.text();
}

// A file as it is.
export async function send(path, file) {
  const answer = await fetch(path, { method: "POST", headers: { "content-type": "application/octet-stream" }, body: file });
  if (!answer.ok) throw new Error(await reason(answer));
  return answer.json();
}

async function reason(answer) {
  const text = await answer.text();
  try {
    return JSON.parse(text).error ?? text;
  } catch {
    return text;
  }
}

// The token by which the server knows a request that it gets again, after its answer was lost.
function newToken() {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

export class Saver {
  #waiting = [];
  #running = false;

  // told(count, problem) hears how many saves wait, and why the first one does not get through.
  constructor(told) {
    this.told = told;
    addEventListener("beforeunload", (event) => {
      if (this.#waiting.length) event.preventDefault();
    });
  }

  get waiting() {
    return this.#waiting.length;
  }

  // done(result) runs once it is on the server's disk; refused(words) where the server will not have it.
  push(path, content, done, refused) {
    this.#waiting.push({ path, content: { ...content, request: newToken() }, done, refused });
    this.run();
  }

  async idle() {
    while (this.#running) await new Promise((go) => setTimeout(go, 10));
  }

  async run() {
    if (this.#running) return;
    this.#running = true;
    let problem = "";
    while (this.#waiting.length && !problem) {
      this.told(this.#waiting.length, "");
      const job = this.#waiting[0];
      let heard = null;
      try {
        const answer = await fetch(job.path, {
          method: "POST",
          headers: { "content-type": "application/json" },
          body: JSON.stringify(job.content),
        });
        if (answer.ok) {
          const result = await answer.json();
          heard = () => job.done(result);
        } else if (answer.status === 400) {
          const words = await reason(answer);
          heard = () => job.refused(words);
        } else {
          problem = await reason(answer);
        }
      } catch (error) {
        problem = `the server does not answer (${error.message})`;
      }
      if (heard) {
        this.#waiting.shift();
        try {
          heard();
        } catch (error) {
          reportError(error); // the step is saved, and the next ones are sent
        }
      }
    }
    this.#running = false;
    this.told(this.#waiting.length, problem);
  }
}
