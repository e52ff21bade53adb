// Requests to the server. Saves go one after another, in the order of the keys; what has not arrived is kept and told.

export async function get(path) {
  const answer = await fetch(path, { headers: { accept: "application/json, text/html" } });
  if (!answer.ok) throw new Error(await reason(answer));
  return answer.headers.get("content-type").includes("json") ? answer.json() : answer.text();
}

async function reason(answer) {
  const text = await answer.text();
  try {
    return JSON.parse(text).error ?? text;
  } catch {
    return text;
  }
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
    this.#waiting.push({ path, content, done, refused });
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
      try {
        const answer = await fetch(job.path, {
          method: "POST",
          headers: { "content-type": "application/json" },
          body: JSON.stringify(job.content),
        });
        if (answer.ok) {
          const result = await answer.json();
          this.#waiting.shift();
          job.done(result);
        } else if (answer.status === 400) {
          const words = await reason(answer);
          this.#waiting.shift();
          job.refused(words);
        } else {
          problem = await reason(answer);
        }
      } catch (error) {
        problem = `the server does not answer (${error.message})`;
      }
    }
    this.#running = false;
    this.told(this.#waiting.length, problem);
  }
}
