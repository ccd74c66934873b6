/** `npm run bench:start`. */
import { mkdtemp, rm } from 'node:fs/promises'
import { resolve } from 'node:path'
import type { Benchmark, CountSection } from '../frame/benchmark.js'
import type { Effort } from '../frame/compare.js'
import { makeBundles, type Bundle } from './bundles.js'
import { firstTokens } from './first-tokens.js'
import { imports } from './imports.js'

export const start: Benchmark = {
  name: 'start',
  what: 'cold starts: import, first token, and the same as a bundle',
  async run(context) {
    const effort = context.isQuick ? QUICK : FULL
    const folder = await mkdtemp(resolve('build', 'bundles-'))
    try {
      const bundles = await makeBundles(folder)
      return [
        await imports(context, effort),
        await firstTokens(bundles, context, effort),
        bundleSizes(bundles),
      ]
    } finally {
      await rm(folder, { recursive: true })
    }
  },
}

/** The first process of each kind finds files that the system has not read before. */
const FULL: Effort = { rounds: 21, warmUpRounds: 2 }
const QUICK: Effort = { rounds: 1, warmUpRounds: 0 }

function bundleSizes(bundles: readonly Bundle[]): CountSection {
  return {
    kind: 'counts',
    name: 'bundles',
    title: 'Bundles by esbuild, minified',
    notes: [
      'That for Entra ID has all of @azure/identity in it, and runs it when it starts: entra() without "credentials" takes its',
      'DefaultAzureCredential by import(), and of a module that is imported so esbuild leaves nothing out.',
    ],
    rows: bundles.map(({ name, bytes }) => ({ name, counts: { bytes } })),
  }
}
