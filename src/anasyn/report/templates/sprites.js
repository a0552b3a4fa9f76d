// Packed images: each is mean + Σ_k c_k · basis_k, and a blend of images is the blend of their c.
//
// Returns a function that paints a blend: of `shares`, pairs of an image's place and its share.
function unpack({ mean, basis, coefficients, units }, tile) {
  const numbers = (text, Kind) => new Kind(Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0)).buffer);
  const middle = numbers(mean, Uint8Array), images = numbers(basis, Int8Array), packed = numbers(coefficients, Int16Array);
  const c = new Float32Array(units.length), levels = new Float32Array(middle.length);
  const pixels = new ImageData(tile, tile);

  return (context, shares) => {
    c.fill(0);
    for (const [place, share] of shares) {
      for (let k = 0; k < c.length; k++) c[k] += share * packed[place * c.length + k] * units[k];
    }
    levels.set(middle);
    for (let k = 0, b = 0; k < c.length; k++) {
      for (let p = 0; p < levels.length; p++, b++) levels[p] += c[k] * images[b];
    }
    for (let p = 0, q = 0; p < levels.length; q++) {  // clamped and rounded on their way into the pixels
      pixels.data[q] = levels[p++];
      pixels.data[++q] = levels[p++];
      pixels.data[++q] = levels[p++];
      pixels.data[++q] = 255;
    }
    context.putImageData(pixels, 0, 0);
  };
}
