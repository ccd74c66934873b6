/** Startup parameters of a provider, beside those of the driver. */

/** The driver may have `options` of its own; the server reads those that come last where they name the same. */
export function withAdded(
  parameters: ReadonlyMap<string, string>,
  added: Readonly<Record<string, string>> = {},
): Map<string, string> {
  const all = new Map(parameters)
  for (const [name, value] of Object.entries(added)) {
    const given = name === 'options' ? parameters.get(name) : undefined
    all.set(name, given === undefined ? value : `${given} ${value}`)
  }
  return all
}
