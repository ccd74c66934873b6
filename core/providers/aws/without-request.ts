/** Keeps the AWS SDK's errors from telling secrets. */

/** Settles as `work` does. An error of the SDK leads, by the body of the response, to the request that it was for, and that holds a session token. */
export async function withoutRequest<T>(work: T | Promise<T>): Promise<T> {
  try {
    return await work
  } catch (error) {
    const { $response } = (error ?? {}) as { $response?: { body?: unknown } }
    if ($response !== undefined) $response.body = undefined
    throw error
  }
}
