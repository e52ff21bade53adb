// Labels that may follow each other: O, B- at the beginning of a name, I- inside of it. Other names follow each other freely.

const kindOf = (name) => (/^[BI]-/.test(name) ? name.slice(2) : null);

export class Tags {
  constructor(names) {
    this.names = names;
    this.number = new Map(names.map((name, number) => [name, number]));
    this.inside = names.some((name) => name.startsWith("I-"));
  }

  // Whether the label at a place may stand behind the one before it.
  fits(labels, place) {
    const name = this.names[labels[place]] ?? "";
    if (!this.inside || !name.startsWith("I-")) return true;
    return place > 0 && kindOf(this.names[labels[place - 1]] ?? "") === kindOf(name);
  }

  // What the tokens from first to last may be: words, and the classes that they get.
  choices(labels, first, last) {
    const size = last - first + 1;
    if (!this.inside) return this.names.map((words, number) => ({ words, gives: Array(size).fill(number) }));
    const found = [];
    const seen = new Set();
    for (const [number, name] of this.names.entries()) {
      const kind = kindOf(name);
      if (kind === null) found.push({ words: name, gives: Array(size).fill(number) });
      if (kind === null || seen.has(kind)) continue;
      seen.add(kind);
      const begin = this.number.get(`B-${kind}`);
      const inside = this.number.get(`I-${kind}`);
      const rest = Array(size - 1).fill(inside ?? begin);
      found.push({ words: kind, gives: [begin ?? inside, ...rest] });
      const before = first > 0 ? (this.names[labels[first - 1]] ?? "") : "";
      if (inside !== undefined && begin !== undefined && kindOf(before) === kind)
        found.push({ words: `${kind}, continued`, gives: Array(size).fill(inside) });
    }
    return found;
  }

  // The labels with a choice made; a name that loses its beginning begins behind it.
  given(labels, first, gives) {
    const now = [...labels];
    now.splice(first, gives.length, ...gives);
    const next = first + gives.length;
    if (next < now.length && this.fits(labels, next) && !this.fits(now, next)) {
      const begin = this.number.get(`B-${kindOf(this.names[now[next]])}`);
      if (begin !== undefined) now[next] = begin;
    }
    return now;
  }
}
