// The table of samples, a page at a time.

import { get } from "./api.js";

const SIZE = 50;
const by = (id) => document.getElementById(id);

export class Table {
  #offset = 0;
  #total = 0;

  // asked() gives the query; open(position) shows a card; picked is the set of selected positions; changed() hears of it.
  constructor(asked, open, picked, changed, all) {
    Object.assign(this, { asked, open, picked, changed });
    by("back").addEventListener("click", () => this.load(this.#offset - SIZE));
    by("forth").addEventListener("click", () => this.load(this.#offset + SIZE));
    by("all").addEventListener("click", () => all(this.#total));
  }

  async load(offset = this.#offset) {
    const query = this.asked();
    query.set("offset", Math.max(0, offset));
    query.set("limit", SIZE);
    const found = await get(`/queue?${query}`);
    this.#offset = found.offset;
    this.#total = found.total;
    const last = Math.min(found.offset + SIZE, found.total);
    by("page").textContent = found.total ? `${(found.offset + 1).toLocaleString()} to ${last.toLocaleString()} of ${found.total.toLocaleString()}` : "no samples";
    by("all").textContent = `Select all ${found.total.toLocaleString()}`;
    by("back").disabled = found.offset === 0;
    by("forth").disabled = last >= found.total;
    by("rows").replaceChildren(...found.rows.map((row) => this.#line(row)));
  }

  #line(row) {
    const line = Object.assign(document.createElement("tr"), { role: "row" });
    const box = Object.assign(document.createElement("input"), { type: "checkbox", checked: this.picked.has(row.position) });
    box.setAttribute("aria-label", `Select sample ${row.id}`);
    box.addEventListener("change", () => {
      box.checked ? this.picked.add(row.position) : this.picked.delete(row.position);
      this.changed();
    });
    const open = Object.assign(document.createElement("button"), { type: "button", textContent: row.id });
    open.addEventListener("click", () => this.open(row.position));
    const score = row.flagged ? row.score : `${row.score} (not flagged)`;
    const cells = { selected: box, sample: open, given: row.given, suggested: row.suggested, score, reason: row.reason, decision: row.decision };
    for (const [name, content] of Object.entries(cells)) {
      const cell = Object.assign(document.createElement("td"), { role: "cell" });
      cell.dataset.name = name;
      cell.append(content);
      line.append(cell);
    }
    return line;
  }
}
