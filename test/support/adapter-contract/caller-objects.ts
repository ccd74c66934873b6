/** Detects changes to the caller's objects. */

/** Freezes plain objects and arrays recursively. */
export function deepFreeze<T>(value: T): T {
  if (!isPlain(value)) return value
  for (const property of Object.values(value)) deepFreeze(property)
  return Object.freeze(value)
}

/** Copies plain objects and arrays with all properties, including hidden ones. Other values are not copied. */
export function snapshot(value: unknown): unknown {
  if (!isPlain(value)) return value
  const entries = Object.entries(Object.getOwnPropertyDescriptors(value))
  return entries.map(([name, descriptor]) => [
    name,
    { ...descriptor, value: snapshot(descriptor.value) },
  ])
}

function isPlain(value: unknown): value is object {
  if (typeof value !== 'object' || value === null) return false
  if (Array.isArray(value)) return true
  const prototype: unknown = Object.getPrototypeOf(value)
  return prototype === Object.prototype || prototype === null
}
