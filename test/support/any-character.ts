import * as fc from 'fast-check'

/** Any character of Unicode. The unit "binary" of fast-check 4 takes a second to prepare, in each file that uses it. */
export const anyCharacter = fc
  .integer({ min: 0, max: 0x10ffff })
  .filter((point) => point < 0xd800 || point > 0xdfff)
  .map((point) => String.fromCodePoint(point))
