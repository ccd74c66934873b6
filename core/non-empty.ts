/** Lists with at least one value. */

export type NonEmpty<T> = readonly [T, ...T[]]

/** As `list.map(change)`, which forgets that there is a first one. */
export function mapNonEmpty<T, U>(
  list: NonEmpty<T>,
  change: (value: T, index: number) => U,
): NonEmpty<U> {
  const [first, ...others] = list
  return [change(first, 0), ...others.map((value, index) => change(value, index + 1))]
}
