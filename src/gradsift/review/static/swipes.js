// Swipes to the right and to the left, with a finger.

const FAR = 80; // pixels

export function swipes(place, { right, left }) {
  let start = null;
  place.addEventListener("pointerdown", (event) => {
    const scrolls = event.target.closest("button:not(.word), audio, .scroll");
    start = event.pointerType === "touch" && !scrolls ? { x: event.clientX, y: event.clientY } : null;
  });
  place.addEventListener("pointercancel", () => {
    start = null;
  });
  place.addEventListener("pointerup", (event) => {
    if (!start) return;
    const across = event.clientX - start.x;
    const down = event.clientY - start.y;
    start = null;
    if (Math.abs(across) < FAR || Math.abs(down) > Math.abs(across) / 2) return;
    across > 0 ? right() : left();
  });
}
