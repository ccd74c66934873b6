/** All text that printing or logging a value can expose. */
import { inspect } from 'node:util'

/** All texts together, so that one search covers them. */
export function exposedText(value: unknown): string {
  return [
    inspect(value, WITH_HIDDEN),
    inspect(value, { ...WITH_HIDDEN, customInspect: false }),
    safeJson(value),
    ...(value instanceof Error ? [String(value), value.stack ?? ''] : []),
  ].join('\n')
}

const WITH_HIDDEN = {
  depth: 12,
  showHidden: true,
  maxArrayLength: null,
  maxStringLength: null,
} as const

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
