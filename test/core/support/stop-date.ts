/** Stops the date, for a signer and for us, and nothing else. */
export function stopDateAt(time: Date | number): void {
  jest.useFakeTimers({
    now: time,
    doNotFake: [
      'nextTick',
      'setImmediate',
      'setTimeout',
      'setInterval',
      'clearTimeout',
      'performance',
      'hrtime',
    ],
  })
}
