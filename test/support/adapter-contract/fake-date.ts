/** Moves the date of this process, for the login, the signer of its tokens and the gateway alike. Timers run on. */

/** Freezes the date until the end of the test; the function that it returns puts it forward. */
export function fakeDate(): (milliseconds: number) => void {
  jest.useFakeTimers({
    now: Date.now(),
    doNotFake: [
      'clearImmediate',
      'clearInterval',
      'clearTimeout',
      'hrtime',
      'nextTick',
      'performance',
      'queueMicrotask',
      'setImmediate',
      'setInterval',
      'setTimeout',
    ],
  })
  return (milliseconds) => jest.setSystemTime(Date.now() + milliseconds)
}
