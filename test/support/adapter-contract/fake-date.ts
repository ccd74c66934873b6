/** Changes the date of this process, for the login, the token signer and the gateway. Timers are not affected. */

/** Freezes the date until the end of the test. The returned function advances it. */
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
