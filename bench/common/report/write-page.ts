/** Writes pages of docs/. */
import { writeFile } from 'node:fs/promises'
import { format, resolveConfig } from 'prettier'

/** In the style that `npm run lint` checks. */
export async function writePage(file: string, content: string): Promise<void> {
  const style = await resolveConfig(file)
  await writeFile(file, await format(content, { ...style, filepath: file }))
}
