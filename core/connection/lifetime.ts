/** How old a connection may become. */
import type { Login } from '../login.js'

/**
 * Draws the age, in seconds, at which one connection is to be replaced: from four fifths of the login's `maxLifetimeSecs` up to
 * all of it; `Infinity` without one. Connections that were opened together would otherwise be replaced together, in every process of
 * a fleet at once.
 */
export function drawLifetimeSecs(
  { maxLifetimeSecs = Infinity }: Login,
  random: () => number = Math.random,
): number {
  return maxLifetimeSecs * (1 - LIFETIME_JITTER * random())
}

/** The part of a lifetime that is left to chance. */
export const LIFETIME_JITTER = 0.2
