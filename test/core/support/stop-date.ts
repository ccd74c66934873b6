/** Stops the date for the signers, without stopping timers. */
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
