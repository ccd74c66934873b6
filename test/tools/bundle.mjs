/**
 * Bundles programs, as `node bundle.mjs BUNDLER JOBS`. JOBS is JSON: a list of `{ from, to, format }`. Prints what was wrong with
 * each, as JSON: a list of lists. A program of its own, because bundlers do not run inside of Jest.
 */
import { basename, dirname } from 'node:path'

/** @typedef {{ from: string, to: string, format: 'esm' | 'cjs' }} Job */

/** @type {Record<string, (job: Job) => Promise<string[]>>} */
const BUNDLERS = {
  async esbuild({ from, to, format }) {
    const { build } = await import('esbuild')
    const { errors, warnings } = await build({
      entryPoints: [from],
      outfile: to,
      bundle: true,
      platform: 'node',
      format,
      logLevel: 'silent',
    }).catch((/** @type {any} */ failure) => failure)
    return [...errors, ...warnings].map(({ text }) => text)
  },

  async webpack({ from, to }) {
    const { default: webpack } = await import('webpack')
    const stats = await new Promise((resolve, reject) => {
      webpack(
        {
          mode: 'production',
          // To read what went wrong; and it takes most of the time.
          optimization: { minimize: false },
          target: 'node',
          context: dirname(from),
          entry: from,
          output: { path: dirname(to), filename: basename(to) },
        },
        (error, result) => (error ? reject(error) : resolve(result)),
      )
    })
    const { errors, warnings } = stats.toJson({ all: false, errors: true, warnings: true })
    return [
      ...errors.map(({ message }) => `error: ${message}`),
      ...warnings.map(({ message }) => message),
    ]
  },

  async rollup({ from, to, format }) {
    const { rollup } = await import('rollup')
    const [{ nodeResolve }, { default: commonjs }, { default: json }] = await Promise.all([
      import('@rollup/plugin-node-resolve'),
      import('@rollup/plugin-commonjs'),
      import('@rollup/plugin-json'),
    ])
    /** @type {string[]} */
    const said = []
    const bundle = await rollup({
      input: from,
      onwarn: ({ message, code }) => said.push(`${code}: ${message}`),
      plugins: [
        nodeResolve({ preferBuiltins: true, exportConditions: ['node'] }),
        commonjs(),
        json(),
      ],
    })
    await bundle.write({ file: to, format, inlineDynamicImports: true })
    await bundle.close()
    return said
  },
}

const [, , bundler = '', jobs = '[]'] = process.argv
const said = []
for (const job of JSON.parse(jobs)) said.push(await BUNDLERS[bundler]?.(job))
process.stdout.write(JSON.stringify(said))
