/** All text that printing or logging a value can expose. */
import { inspect } from 'node:util'

/** All texts together, so that one search covers them. */
export function exposedText(value: unknown): string {
  return [
    inspect(value, { depth: 4, showHidden: true, maxArrayLength: null, maxStringLength: null }),
    reachableText(value),
    safeJson(value),
    ...(value instanceof Error ? [String(value), value.stack ?? ''] : []),
  ].join('\n')
}

const DEPTH = 12

/**
 * All strings in properties, hidden ones and those of symbols included, and in maps and sets. `util.inspect` with this depth prints an
 * object again for each reference to it, which takes a minute for a PrismaClient.
 */
function reachableText(root: unknown): string {
  const strings: string[] = []
  const seen = new Set<unknown>()
  let level: unknown[] = [root]
  for (let depth = 0; depth <= DEPTH && level.length > 0; depth++) {
    const next: unknown[] = []
    for (const value of level) {
      if (typeof value === 'string') strings.push(value)
      if ((typeof value !== 'object' && typeof value !== 'function') || value === null) continue
      if (seen.has(value) || ArrayBuffer.isView(value)) continue
      seen.add(value)
      for (const name of Reflect.ownKeys(value)) {
        strings.push(String(name))
        // Like util.inspect, it calls no getter.
        next.push(Reflect.getOwnPropertyDescriptor(value, name)?.value)
      }
      if (value instanceof Map) next.push(...value.keys(), ...value.values())
      if (value instanceof Set) next.push(...value)
    }
    level = next
  }
  return strings.join('\n')
}

/** Like `JSON.stringify` with all enumerable properties, including `toJSON`, but with support for cycles. */
function safeJson(value: unknown): string {
  const seen = new WeakSet<object>()
  return (
    JSON.stringify(value, (_key, property: unknown) => {
      if (typeof property === 'bigint') return String(property)
      if (typeof property !== 'object' || property === null) return property
      if (seen.has(property)) return undefined
      seen.add(property)
      if (property instanceof Map || property instanceof Set) return [...property]
      return property
    }) ?? ''
  )
}
