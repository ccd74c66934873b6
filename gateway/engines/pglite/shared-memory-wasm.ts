/** Rewrites a WebAssembly program so that its memory can be shared between threads. */

/** The most memory that PGlite's programs ask for: 32,768 pages of 64 KiB. */
export const MAXIMUM_PAGES = 32_768

/**
 * Returns the program with its imported memory declared as shared, or the program itself when it imports none.
 *
 * PGlite is built for memory that one thread owns, and while a statement runs that thread hears nothing. With shared memory
 * another thread can set the flags that PostgreSQL looks at while it works, as a signal handler does in a real server. That is
 * all that changes: the instructions stay as they are, since plain loads and stores work on shared memory as well.
 */
export function withSharedMemory(program: Uint8Array): Uint8Array {
  const imports = findSection(program, IMPORT_SECTION)
  if (imports === undefined) return program
  const { start, bodyStart, end } = imports
  const body = Buffer.from(program.buffer, program.byteOffset + bodyStart, end - bodyStart)
  const found = body.indexOf(MEMORY_IMPORT)
  if (found === -1) return program
  const flags = found + MEMORY_IMPORT.length
  const minimum = readNumber(body, flags + 1)
  const afterLimits =
    (body[flags]! & HAS_MAXIMUM) === 0 ? minimum.end : readNumber(body, minimum.end).end
  const newBody = Buffer.concat([
    body.subarray(0, flags),
    Buffer.from([HAS_MAXIMUM | IS_SHARED]),
    body.subarray(flags + 1, minimum.end),
    numberBytes(MAXIMUM_PAGES),
    body.subarray(afterLimits),
  ])
  return Buffer.concat([
    program.subarray(0, start),
    Buffer.from([IMPORT_SECTION]),
    numberBytes(newBody.length),
    newBody,
    program.subarray(end),
  ])
}

const IMPORT_SECTION = 2
const HAS_MAXIMUM = 1
const IS_SHARED = 2
/** Module "env", field "memory", kind 2 (memory); the limits follow. */
const MEMORY_IMPORT = Buffer.from('\u0003env\u0006memory\u0002', 'latin1')
/** Behind magic and version. */
const FIRST_SECTION = 8

interface Section {
  start: number
  bodyStart: number
  end: number
}

function findSection(program: Uint8Array, id: number): Section | undefined {
  let start = FIRST_SECTION
  while (start < program.length) {
    const { value: length, end: bodyStart } = readNumber(program, start + 1)
    const end = bodyStart + length
    if (program[start] === id) return { start, bodyStart, end }
    start = end
  }
  return undefined
}

/** An unsigned LEB128 number. */
function readNumber(bytes: Uint8Array, offset: number): { value: number; end: number } {
  let value = 0
  let shift = 0
  let end = offset
  for (;;) {
    const byte = bytes[end++]
    if (byte === undefined) throw new RangeError('the WebAssembly program is cut off')
    value += (byte & 0x7f) * 2 ** shift
    if ((byte & 0x80) === 0) return { value, end }
    shift += 7
  }
}

function numberBytes(value: number): Buffer {
  const bytes: number[] = []
  let rest = value
  while (rest >= 0x80) {
    bytes.push((rest % 0x80) | 0x80)
    rest = Math.floor(rest / 0x80)
  }
  bytes.push(rest)
  return Buffer.from(bytes)
}
