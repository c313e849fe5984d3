"use strict";
// Text that is packed by LZMA (lc = 3, lp = pb = 0) and written in 85 characters; packing.py is the other half.
const unpacked = (() => {
  const LETTERS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz!#$%.()*+-;,=>?@^_`{|}~";
  const VALUES = new Uint8Array(128);
  for (let i = 0; i < 85; i++) VALUES[LETTERS.charCodeAt(i)] = i;

  const bytes = (text) => {
    const full = text + "~".repeat((5 - (text.length % 5)) % 5);
    const found = new Uint8Array((full.length / 5) * 4);
    for (let i = 0, k = 0; i < full.length; k += 4) {
      let number = 0;
      for (const end = i + 5; i < end; i++) number = number * 85 + VALUES[full.charCodeAt(i)];
      found[k] = number >>> 24;
      found[k + 1] = number >>> 16;
      found[k + 2] = number >>> 8;
      found[k + 3] = number;
    }
    return found;
  };

  const decoded = (source, size) => {
    const out = new Uint8Array(size);
    const even = (count) => new Uint16Array(count).fill(1024);
    let [at, range, code] = [5, 0xffffffff, 0];
    for (let i = 1; i < 5; i++) code = ((code << 8) | source[i]) >>> 0;

    const refill = () => {
      if (range >= 0x1000000) return;
      range = (range << 8) >>> 0;
      code = ((code << 8) | source[at++]) >>> 0;
    };
    const bit = (odds, i) => {
      refill();
      const p = odds[i];
      const bound = (range >>> 11) * p;
      if (code < bound) {
        range = bound;
        odds[i] = p + ((2048 - p) >>> 5);
        return 0;
      }
      range -= bound;
      code -= bound;
      odds[i] = p - (p >>> 5);
      return 1;
    };
    const plain = (count) => {
      let value = 0;
      while (count--) {
        refill();
        range >>>= 1;
        const one = code >= range;
        if (one) code -= range;
        value = value * 2 + one;
      }
      return value;
    };
    const tree = (odds, first, count) => {
      let m = 1;
      for (let i = 0; i < count; i++) m = m * 2 + bit(odds, first + m);
      return m - (1 << count);
    };
    const reversed = (odds, first, count) => {
      let [m, value] = [1, 0];
      for (let i = 0; i < count; i++) {
        const one = bit(odds, first + m);
        m = m * 2 + one;
        value |= one << i;
      }
      return value;
    };
    const lengths = () => ({ choice: even(2), low: even(8), middle: even(8), high: even(256) });
    const length = (from) => {
      if (!bit(from.choice, 0)) return 2 + tree(from.low, 0, 3);
      return bit(from.choice, 1) ? 18 + tree(from.high, 0, 8) : 10 + tree(from.middle, 0, 3);
    };

    const [match, repeat, notFirst, notSecond, notThird, long] = Array.from({ length: 6 }, () => even(12));
    const [literal, slots, special, align] = [even(0x300 * 8), even(256), even(115), even(16)];
    const [fresh, again] = [lengths(), lengths()];
    const distance = (count) => {
      const slot = tree(slots, 64 * Math.min(count - 2, 3), 6);
      if (slot < 4) return slot;
      const low = (slot >> 1) - 1;
      const start = ((2 | (slot & 1)) << low) >>> 0;
      if (slot < 14) return start + reversed(special, start - slot, low);
      return start + plain(low - 4) * 16 + reversed(align, 0, 4);
    };

    let [state, position, a, b, c, d] = [0, 0, 0, 0, 0, 0]; // a to d: the last four distances, less 1
    while (position < size) {
      if (!bit(match, state)) {
        const first = 0x300 * ((position ? out[position - 1] : 0) >> 5);
        let m = 1;
        if (state >= 7) {
          let seen = out[position - a - 1];
          let same = true;
          while (m < 256 && same) {
            const expected = (seen >> 7) & 1;
            seen <<= 1;
            const one = bit(literal, first + ((1 + expected) << 8) + m);
            m = m * 2 + one;
            same = one === expected;
          }
        }
        while (m < 256) m = m * 2 + bit(literal, first + m);
        out[position++] = m;
        state = state < 4 ? 0 : state < 10 ? state - 3 : state - 6;
        continue;
      }
      let count;
      if (bit(repeat, state)) {
        if (!bit(notFirst, state)) {
          if (!bit(long, state)) {
            out[position] = out[position - a - 1];
            position++;
            state = state < 7 ? 9 : 11;
            continue;
          }
        } else if (!bit(notSecond, state)) [a, b] = [b, a];
        else if (!bit(notThird, state)) [a, b, c] = [c, a, b];
        else [a, b, c, d] = [d, a, b, c];
        count = length(again);
        state = state < 7 ? 8 : 11;
      } else {
        count = length(fresh);
        [a, b, c, d] = [distance(count), a, b, c];
        state = state < 7 ? 7 : 10;
      }
      if (a >= position) throw new Error("packed text is damaged");
      for (const end = Math.min(position + count, size); position < end; position++) out[position] = out[position - a - 1];
    }
    return out;
  };

  return (element) => new TextDecoder().decode(decoded(bytes(element.textContent.trim()), Number(element.dataset.size)));
})();

// Plotly runs when it is first needed, after the words of the page have been shown.
const withPlotly = (() => {
  let asked = null;
  return () => {
    if (window.Plotly) return Promise.resolve();
    asked ??= new Promise((resolve, reject) => {
      setTimeout(() => {
        try {
          const script = document.createElement("script");
          script.textContent = unpacked(document.getElementById("plotly"));
          document.head.append(script);
          if (!window.Plotly) throw new Error("plotly did not start");
          resolve();
        } catch (error) {
          reject(error);
        }
      }, 30);
    });
    return asked;
  };
})();
