/** A random order. */

/** Returns the items in an order of which all are equally likely (Fisher and Yates). */
export function shuffled<T>(items: readonly T[], random: () => number): T[] {
  const order = [...items]
  for (let last = order.length - 1; last > 0; last--) {
    const chosen = Math.floor(random() * (last + 1))
    const kept = order[last]!
    order[last] = order[chosen]!
    order[chosen] = kept
  }
  return order
}
