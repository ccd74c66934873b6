/** Keeps the files of a database in memory from taking all the memory that there is. */
import type { PostgresModule } from './postgres-program.js'

/**
 * Calls `onFull` whenever a file grows while all of them have more than `limitBytes`. It must make the running statement stop: a
 * file that could not grow might be one of the write-ahead log, without which PostgreSQL cannot go on.
 */
export function limitFiles(
  { FS, MEMFS }: Pick<PostgresModule, 'FS' | 'MEMFS'>,
  directory: string,
  limitBytes: number,
  onFull: () => void,
): void {
  const expand = MEMFS.expandFileStorage
  MEMFS.expandFileStorage = (file, capacity) => {
    expand(file, capacity)
    // Segments of the log are files of this size. Adding up is only worth it for what can amount to something.
    if (capacity >= LARGE_FILE_BYTES && sizeOf(FS.lookupPath(directory).node) > limitBytes) onFull()
  }
}

const LARGE_FILE_BYTES = 1_048_576

/** A file's contents are bytes, a directory's are its files by name. Files on disk have none here. */
export interface MemoryFile {
  readonly contents?: Uint8Array | Record<string, MemoryFile> | null
}

function sizeOf({ contents }: MemoryFile): number {
  if (contents === undefined || contents === null) return 0
  if (ArrayBuffer.isView(contents)) return contents.length
  return Object.values(contents).reduce((sum, file) => sum + sizeOf(file), 0)
}
