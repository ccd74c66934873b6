/** Does what pg leaves undone where its password comes from a function. */

/** The client that asks, and what it knows of its connection. Not all of it is in pg's types. */
export interface PasswordRequest {
  readonly client: unknown
  readonly parameters: unknown
}

/**
 * Resolves with what `password` gives, after pg was kept from showing it: pg stores it in two properties, which
 * `util.inspect` with `showHidden` prints. Where it fails, the connection is closed: pg would leave it open until the
 * server loses patience, which can take a minute for each.
 */
export async function answerPasswordRequest(
  { client, parameters }: PasswordRequest,
  password: () => Promise<string>,
): Promise<string> {
  try {
    const answer = await password()
    hidePassword(client)
    hidePassword(parameters)
    return answer
  } catch (error) {
    // Later, because pg must hear of the error before it hears of the connection's end.
    setImmediate(closeConnection, client)
    throw error
  }
}

function hidePassword(owner: unknown): void {
  if (typeof owner !== 'object' || owner === null) return
  let hidden: unknown
  Object.defineProperty(owner, 'password', {
    get: () => hidden,
    set: (value) => {
      hidden = value
    },
    configurable: true,
    enumerable: false,
  })
}

function closeConnection(client: unknown): void {
  const { connection } = (client ?? {}) as { connection?: { stream?: { destroy?: () => void } } }
  connection?.stream?.destroy?.()
}
