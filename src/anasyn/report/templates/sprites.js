// Packed images: each is mean + Σ_k c_k · basis_k, and a blend of images has the same blend of their coefficients c.
//
// Returns a function that paints a blend of images on a canvas, given pairs of an image's index and its share.
function unpack({ mean, basis, coefficients, units }, width, height) {
  const numbers = (text, Kind) => new Kind(Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0)).buffer);
  const middle = numbers(mean, Uint8Array), images = numbers(basis, Int8Array), packed = numbers(coefficients, Int16Array);
  const c = new Float32Array(units.length), levels = new Float32Array(middle.length);
  const [green, blue, channels] = levels.length === width * height ? [0, 0, 1] : [1, 2, 3];  // one channel is grey
  const pixels = new ImageData(width, height);

  return (context, shares) => {
    c.fill(0);
    for (const [place, share] of shares) {
      for (let k = 0; k < c.length; k++) c[k] += share * packed[place * c.length + k] * units[k];
    }
    levels.set(middle);
    for (let k = 0, b = 0; k < c.length; k++) {
      for (let p = 0; p < levels.length; p++, b++) levels[p] += c[k] * images[b];
    }
    for (let p = 0, q = 0; p < levels.length; p += channels) {  // ImageData clamps and rounds
      pixels.data[q++] = levels[p];
      pixels.data[q++] = levels[p + green];
      pixels.data[q++] = levels[p + blue];
      pixels.data[q++] = 255;
    }
    context.putImageData(pixels, 0, 0);
  };
}
