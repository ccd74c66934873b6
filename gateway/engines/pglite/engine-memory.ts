/** Reads and writes the memory of the WebAssembly program. */
import type { WasmMemory } from './web-assembly.js'

export interface EngineMemory {
  readonly shared: SharedArrayBuffer
  /** A 32-bit word: an `int`, an enumeration or a pointer of the program. */
  word(address: number): number
  setWord(address: number, value: number): void
  setByte(address: number, value: number): void
  /** The text up to its NUL. */
  text(address: number): string
  /** A copy, since the memory goes on changing. */
  copy(address: number, length: number): Buffer
  write(address: number, bytes: Uint8Array): void
  /** Sleeps until the word is no longer `value`, at most for `milliseconds`. */
  sleepWhile(address: number, value: number, milliseconds: number): void
}

export function createEngineMemory(memory: WasmMemory): EngineMemory {
  let bytes = new Uint8Array(memory.buffer)
  let words = new Int32Array(memory.buffer)
  /** A buffer does not grow with its memory: there is a longer one for the same bytes then. */
  const refresh = (): void => {
    if (bytes.buffer === memory.buffer) return
    bytes = new Uint8Array(memory.buffer)
    words = new Int32Array(memory.buffer)
  }
  return {
    get shared() {
      return memory.buffer
    },
    word(address) {
      refresh()
      return words[address >> 2]!
    },
    setWord(address, value) {
      refresh()
      words[address >> 2] = value
    },
    setByte(address, value) {
      refresh()
      bytes[address] = value
    },
    text(address) {
      refresh()
      let end = address
      while (bytes[end] !== 0 && end < bytes.length) end++
      return Buffer.from(bytes.subarray(address, end)).toString('utf8')
    },
    copy(address, length) {
      refresh()
      return Buffer.from(bytes.subarray(address, address + length))
    },
    write(address, source) {
      refresh()
      bytes.set(source, address)
    },
    sleepWhile(address, value, milliseconds) {
      refresh()
      Atomics.wait(words, address >> 2, value, milliseconds)
    },
  }
}
