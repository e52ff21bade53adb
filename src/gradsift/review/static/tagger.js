// The editor of token labels: tokens are selected with arrows or taps, and get a label that may stand there.

import { asked } from "./dialogs.js";
import { Tags } from "./tags.js";

const by = (id) => document.getElementById(id);

class Tagger {
  // words: [text, place among the labelled tokens or null]; given: a class for each labelled token.
  constructor(names, words, given, suggested, labels, start) {
    Object.assign(this, { names, given, suggested, labels, tags: new Tags(names), first: start, last: start, anchor: start });
    this.extends = false;
    this.chips = [];
    by("words").replaceChildren(...words.map(([text, place]) => this.word(text, place)));
    by("tag-typed").value = "";
    this.draw();
  }

  word(text, place) {
    const item = document.createElement("li");
    item.dir = "auto";
    item.append(Object.assign(document.createElement("span"), { textContent: text }));
    if (place === null) {
      item.setAttribute("role", "presentation");
      return item;
    }
    Object.assign(item, { id: `word-${place}`, className: "word" });
    item.setAttribute("role", "option");
    item.append(" ", document.createElement("small"));
    item.addEventListener("click", (event) => this.select(place, event.shiftKey || this.extends));
    this.chips[place] = item;
    return item;
  }

  select(place, further) {
    const to = Math.max(0, Math.min(place, this.given.length - 1));
    if (!further) this.anchor = to;
    this.at = to;
    [this.first, this.last] = [Math.min(this.anchor, to), Math.max(this.anchor, to)];
    this.draw();
  }

  draw() {
    this.at ??= this.first;
    for (const [place, chip] of this.chips.entries()) {
      const label = this.labels[place];
      const own = label !== this.given[place] ? `, was ${this.names[this.given[place]]}` : "";
      const other = this.suggested && this.suggested[place] !== label ? `, suggested ${this.names[this.suggested[place]]}` : "";
      const wrong = this.tags.fits(this.labels, place) ? "" : `, no ${this.names[label].slice(2)} before it`;
      chip.lastChild.textContent = `${this.names[label]}${own}${other}${wrong}`;
      chip.classList.toggle("changed", own !== "");
      chip.classList.toggle("flagged", other !== "" || wrong !== "");
      chip.setAttribute("aria-selected", place >= this.first && place <= this.last);
    }
    by("words").setAttribute("aria-activedescendant", `word-${this.at}`);
    this.chips[this.at]?.scrollIntoView({ block: "nearest" });
    this.offer();
  }

  // The labels that the selection may get, by what was typed.
  offer() {
    const text = by("tag-typed").value.trim().toLowerCase();
    const all = this.tags.choices(this.labels, this.first, this.last);
    this.offered = all.filter((one) => one.words.toLowerCase().startsWith(text));
    if (!this.offered.length) this.offered = all.filter((one) => one.words.toLowerCase().includes(text));
    by("tag-choices").replaceChildren(
      ...this.offered.map((one, place) => {
        const button = Object.assign(document.createElement("button"), { type: "button" });
        if (place < 10) button.append(Object.assign(document.createElement("kbd"), { textContent: place }), " ");
        button.append(one.words);
        button.addEventListener("click", () => this.give(one));
        return button;
      }),
    );
    const size = this.last - this.first + 1;
    by("tag-status").textContent = `${size > 1 ? `${size} tokens are selected` : this.chips[this.first]?.textContent ?? ""}`;
  }

  give(choice) {
    if (!choice) return;
    this.labels = this.tags.given(this.labels, this.first, choice.gives);
    by("tag-typed").value = "";
    by("words").focus();
    this.select(this.last, false);
  }

  takeBack() {
    this.labels = this.labels.map((label, place) => (place >= this.first && place <= this.last ? this.given[place] : label));
    this.draw();
  }

  // Keys while the list of tokens has the focus.
  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const forth = getComputedStyle(by("words")).direction === "rtl" ? "ArrowLeft" : "ArrowRight";
    const back = forth === "ArrowRight" ? "ArrowLeft" : "ArrowRight";
    const to = { [forth]: this.at + 1, [back]: this.at - 1, ArrowDown: this.at + 1, ArrowUp: this.at - 1, Home: 0, End: this.given.length - 1 }[event.key];
    if (to !== undefined) this.select(to, event.shiftKey);
    else if (/^\d$/.test(event.key)) this.give(this.offered[Number(event.key)]);
    else if (event.key === "Backspace" || event.key === "Delete") this.takeBack();
    else if (event.key === "Enter") by("tags").close("give");
    else if (event.key.length === 1 && event.key !== " ") {
      by("tag-typed").value = event.key;
      by("tag-typed").focus();
      this.offer();
    } else return;
    event.preventDefault();
  }
}

// The class of each labelled token; undefined where nothing is given.
export async function askTokens(names, words, given, suggested, labels, start) {
  const tagger = new Tagger(names, words, given, suggested, labels, start);
  by("words").onkeydown = (event) => tagger.key(event);
  by("tag-typed").oninput = () => tagger.offer();
  by("tag-typed").onkeydown = (event) => {
    if (event.key !== "Enter") return;
    event.preventDefault();
    if (by("tag-typed").value.trim()) tagger.give(tagger.offered[0]);
    else by("words").focus();
  };
  by("tag-extend").setAttribute("aria-pressed", false);
  by("tag-extend").onclick = () => {
    tagger.extends = !tagger.extends;
    by("tag-extend").setAttribute("aria-pressed", tagger.extends);
  };
  by("tag-suggested").hidden = suggested === null;
  by("tag-suggested").onclick = () => {
    tagger.labels = [...suggested];
    tagger.draw();
  };
  return (await asked(by("tags"), by("words"))) ? tagger.labels : undefined;
}
