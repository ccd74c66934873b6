/** Packs the files of a data directory into one piece. */
import { promisify } from 'node:util'
import { gunzip, gzip } from 'node:zlib'

/** A file, or a directory where there are no bytes. Directories come before what is in them. */
export interface ArchivedFile {
  /** Relative to the data directory, with `/` between its parts. */
  readonly path: string
  readonly bytes?: Uint8Array
}

/** As an array of `[path, size]`, with -1 for a directory, and all bytes behind it. */
export async function packFiles(files: readonly ArchivedFile[]): Promise<Uint8Array> {
  const index = Buffer.from(
    JSON.stringify(files.map(({ path, bytes }) => [path, bytes?.length ?? DIRECTORY])),
  )
  const length = Buffer.alloc(LENGTH_BYTES)
  length.writeUInt32BE(index.length)
  return promisify(gzip)(
    Buffer.concat([length, index, ...files.map(({ bytes }) => bytes ?? NO_BYTES)]),
  )
}

/** Rejects for what `packFiles` has not made. The bytes are views of one piece of memory. */
export async function unpackFiles(archive: Uint8Array): Promise<ArchivedFile[]> {
  const all = await promisify(gunzip)(archive)
  let offset = LENGTH_BYTES + all.readUInt32BE()
  const index = JSON.parse(all.toString('utf8', LENGTH_BYTES, offset)) as [string, number][]
  return index.map(([path, size]) => {
    if (size === DIRECTORY) return { path }
    const bytes = all.subarray(offset, offset + size)
    offset += size
    return { path, bytes }
  })
}

const NO_BYTES = new Uint8Array(0)
const DIRECTORY = -1
const LENGTH_BYTES = 4
