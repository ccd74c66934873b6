/** Cloudflare's runtime: `npm run test:node -- 22 test/workers`. */
import { execFile } from 'node:child_process'
import { promisify } from 'node:util'

it('a Worker queries over WebSocket, with the build for browsers', async () => {
  const { stdout } = await promisify(execFile)(process.execPath, ['test/workers/main.mjs'])
  expect(JSON.parse(stdout)).toEqual([{ name: 'Leo' }])
})
