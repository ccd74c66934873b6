/** The suggestion behind "did you mean". */

/** The known name closest to `name`, or `undefined` when none is close enough to be what was meant. */
export function nearestName(name: string, known: readonly string[]): string | undefined {
  const furthest = Math.max(1, Math.floor(name.length / 3))
  let nearest: string | undefined
  let least = furthest + 1
  for (const candidate of known) {
    const distance = editDistance(name.toLowerCase(), candidate.toLowerCase())
    if (distance < least) {
      least = distance
      nearest = candidate
    }
  }
  return nearest
}

/** How many single-character insertions, deletions and replacements lead from one word to the other. */
function editDistance(from: string, to: string): number {
  let previous = Array.from({ length: to.length + 1 }, (_, index) => index)
  for (let row = 1; row <= from.length; row++) {
    const current = [row]
    for (let column = 1; column <= to.length; column++) {
      const replaced = previous[column - 1]! + (from[row - 1] === to[column - 1] ? 0 : 1)
      current.push(Math.min(replaced, previous[column]! + 1, current[column - 1]! + 1))
    }
    previous = current
  }
  return previous[to.length]!
}
