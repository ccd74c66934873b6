/** The version of this package. */

/** A literal, because neither the sources nor a bundle can locate `package.json`. A test compares the two. */
export const VERSION = '0.1.0'
