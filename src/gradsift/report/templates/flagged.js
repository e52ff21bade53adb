// Lists what is flagged: a filter, a search, pages, and a csv file of what is listed. It reads the JSON of the page alone.
"use strict";
(() => {
  const by = (id) => document.getElementById(id);
  const data = JSON.parse(by("flagged-data").textContent);
  const SIZE = 50;
  const fields = { given: "given label", suggested: "suggested label", kind: "reason" };
  const name = (field, row) => data[field].names[data[field].of[row]];
  const idOf = (row) => (data.id === null ? String(data.position[row]) : data.id[row]);
  let found = [];
  let first = 0;

  for (const [field, words] of Object.entries(fields)) {
    const names = data[field].names.filter((one) => one !== "");
    if (names.length < 2) continue;
    const label = document.createElement("label");
    const select = Object.assign(document.createElement("select"), { name: field });
    select.append(new Option("any", ""), ...names.map((one) => new Option(one, one)));
    label.append(words + " ", select);
    by("flagged-filters").prepend(label);
  }

  const find = () => {
    const wanted = Object.fromEntries(new FormData(by("flagged-filters")));
    const text = (wanted.text || "").toLowerCase();
    found = data.position.map((_, row) => row).filter(
      (row) =>
        Object.keys(fields).every((field) => !wanted[field] || name(field, row) === wanted[field]) &&
        (!text || [idOf(row), data.reason[row], name("given", row), name("suggested", row)].some((one) => one.toLowerCase().includes(text))),
    );
    first = 0;
    draw();
  };

  const draw = () => {
    const last = Math.min(first + SIZE, found.length);
    by("flagged-rows").replaceChildren(
      ...found.slice(first, last).map((row) => {
        const line = Object.assign(document.createElement("tr"), { role: "row" });
        const cells = { rank: row + 1, position: data.position[row], ...(data.id === null ? {} : { id: idOf(row) }), given: name("given", row), suggested: name("suggested", row), score: Number(data.score[row].toPrecision(4)), reason: data.reason[row] };
        for (const [key, content] of Object.entries(cells)) {
          const cell = Object.assign(document.createElement("td"), { role: "cell", textContent: content });
          cell.dataset.name = key;
          line.append(cell);
        }
        return line;
      }),
    );
    by("flagged-page").textContent = found.length ? `${(first + 1).toLocaleString()} to ${last.toLocaleString()} of ${found.length.toLocaleString()}` : "none";
    by("flagged-back").disabled = first === 0;
    by("flagged-forth").disabled = last >= found.length;
  };

  // A spreadsheet runs what begins with = + - or @, so such texts get an apostrophe.
  const cell = (value) => {
    const text = typeof value === "string" && /^[=+\-@\t\r]/.test(value) ? "'" + value : String(value);
    return /[",\n\r]/.test(text) ? '"' + text.replaceAll('"', '""') + '"' : text;
  };
  const save = () => {
    const lines = found.map((row) => [data.position[row], idOf(row), name("given", row), name("suggested", row), data.score[row], name("kind", row), data.reason[row]]);
    const text = [["position", "id", "given_label", "suggested_label", "score", "reason_kind", "reason"], ...lines].map((line) => line.map(cell).join(",")).join("\n") + "\n";
    const link = Object.assign(document.createElement("a"), { href: URL.createObjectURL(new Blob([text], { type: "text/csv" })), download: "flagged.csv" });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60000);
  };

  by("flagged-filters").addEventListener("input", find);
  by("flagged-filters").addEventListener("submit", (event) => event.preventDefault());
  by("flagged-back").addEventListener("click", () => { first -= SIZE; draw(); });
  by("flagged-forth").addEventListener("click", () => { first += SIZE; draw(); });
  by("flagged-save").addEventListener("click", save);
  by("flagged").hidden = false;
  find();
})();
