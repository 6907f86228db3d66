// Pairs of keys, and how `localeCompare` orders them.

let state = 19930611;
const random = (below) => {
  state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
  return Math.floor((state / 2 ** 32) * below);
};

// Scripts, accents, marks, digits of other scripts, symbols, emoji, what is ignored, ideographs.
const ranges = [
  [0x20, 0x7e], [0x41, 0x7a], [0x00, 0x1f], [0xa0, 0xff], [0x100, 0x24f], [0x300, 0x36f], [0x370, 0x3ff],
  [0x400, 0x4ff], [0x530, 0x58f], [0x590, 0x5ff], [0x600, 0x6ff], [0x900, 0x97f], [0xe00, 0xe7f], [0xe80, 0xeff],
  [0x10a0, 0x10ff], [0x1100, 0x11ff], [0x1e00, 0x1eff], [0x1f00, 0x1fff], [0x2000, 0x206f], [0x2070, 0x209f],
  [0x20a0, 0x20bf], [0x2100, 0x214f], [0x2190, 0x22ff], [0x2460, 0x24ff], [0x3040, 0x30ff], [0x3200, 0x33ff],
  [0x2e80, 0x2fd5], [0x4e00, 0x9fff], [0xac00, 0xd7a3], [0xf900, 0xfaff], [0xfb00, 0xfdff], [0xfe30, 0xffee],
  [0x10400, 0x1044f], [0x12000, 0x1236e], [0x17000, 0x187f7], [0x1d400, 0x1d7ff], [0x1f300, 0x1f64f], [0x20000, 0x2a6d6],
];
const character = () => {
  for (;;) {
    const [first, last] = ranges[random(ranges.length)];
    const found = String.fromCodePoint(first + random(last - first + 1));
    if (/\p{Assigned}/u.test(found)) return found;
  }
};

const pair = () => {
  // Of few characters, so that accents and case often decide.
  const few = Array.from({ length: 1 + random(3) }, character);
  const word = () => Array.from({ length: 1 + random(4) }, () => (random(4) ? few[random(few.length)] : character())).join("");
  const left = word();
  const changes = [word, () => left + character(), () => left.toUpperCase(), () => left.normalize("NFD"), () => [...left].reverse().join(""), word];
  return [left, changes[random(changes.length)]()];
};

export const order = () =>
  Array.from({ length: 2500 }, pair)
    .filter(([left, right]) => left !== right)
    .map(([left, right]) => [left, right, Math.sign(left.localeCompare(right, "en-US"))]);
