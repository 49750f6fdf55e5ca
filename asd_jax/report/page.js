"use strict";

// A header sorts its table by its column: numbers from the highest, texts from A; once more turns it round.
for (const table of document.querySelectorAll("table.sortable")) {
  const headers = [...table.tHead.rows[0].cells];
  headers.forEach((header, column) => {
    const button = document.createElement("button");
    button.append(...header.childNodes);
    header.append(button);
    button.addEventListener("click", () => {
      const rows = [...table.tBodies[0].rows].map((row) => [row.cells[column].dataset.value ?? row.cells[column].textContent.trim(), row]);
      const known = rows.filter(([value]) => value !== "");
      const numbers = known.every(([value]) => Number.isFinite(Number(value)));
      const first = numbers ? "descending" : "ascending", second = numbers ? "ascending" : "descending";
      const order = header.getAttribute("aria-sort") === first ? second : first;
      known.sort(([a], [b]) => (order === "ascending" ? 1 : -1) * (numbers ? a - b : a.localeCompare(b, undefined, { numeric: true })));
      headers.forEach((other) => other.removeAttribute("aria-sort"));
      header.setAttribute("aria-sort", order);
      table.tBodies[0].append(...[...known, ...rows.filter(([value]) => value === "")].map(([, row]) => row));
    });
  });
}

// A line runs over the picture while its clip sounds; a click on the picture, or on the button, plays from there.
const players = document.querySelectorAll("audio");
for (const player of players) {
  const clip = player.closest(".clip"), view = clip.querySelector(".view"), head = clip.querySelector(".head");
  const { left, width, seconds } = view.dataset;
  const follow = () => {
    head.style.display = "block";
    head.style.left = `${100 * (Number(left) + (Number(width) * player.currentTime) / Number(seconds))}%`;
    if (!player.paused) requestAnimationFrame(follow);
  };
  const playFrom = (second) => {
    player.currentTime = Math.max(0, second);
    player.play();
  };
  player.addEventListener("play", () => {
    for (const other of players) if (other !== player) other.pause();
    follow();
  });
  player.addEventListener("seeked", follow);
  view.addEventListener("click", (event) => {
    const box = view.getBoundingClientRect();
    playFrom((((event.clientX - box.left) / box.width - Number(left)) / Number(width)) * Number(seconds));
  });
  clip.querySelector("button").addEventListener("click", (event) => playFrom(Number(event.target.dataset.from)));
}
