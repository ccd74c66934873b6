/** The version of this package. */

/**
 * Written out, because neither the sources nor a bundle has a `package.json` at a place that is known. A test compares the two.
 */
export const VERSION = '0.1.0'
