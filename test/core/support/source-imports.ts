/** The imports of each module, read from the syntax trees of the sources. */
import { existsSync, readFileSync, readdirSync } from 'node:fs'
import { dirname, join, normalize, sep } from 'node:path'
import { parseSync } from '@swc/core'

export interface Import {
  /** The file, from the root, with `/` between the folders. */
  from: string
  specifier: string
  /** The file that a relative import refers to, otherwise `undefined`. */
  to: string | undefined
  /** Whether it is loaded together with the importing file: not a type import, and not an `import()`. */
  isEager: boolean
}

const ROOT = process.cwd()

/** The JavaScript and TypeScript files below a folder, from the root. A folder that does not exist has none. */
export function sourcesIn(folder: string): string[] {
  const path = join(ROOT, folder)
  if (!existsSync(path)) return []
  return readdirSync(path, { recursive: true, encoding: 'utf8' })
    .filter((name) => /\.[cm]?[jt]s$/.test(name) && !/\.d\.[cm]?ts$/.test(name))
    .filter((name) => !name.split(sep).includes('node_modules'))
    .map((name) => join(folder, name).split(sep).join('/'))
}

/** All imports of a file, of any kind. */
export function importsOf(from: string): Import[] {
  const source = readFileSync(join(ROOT, from), 'utf8')
  const isTypeScript = /\.[cm]?ts$/.test(from)
  const tree = parseSync(
    source,
    isTypeScript ? { syntax: 'typescript', decorators: true } : { syntax: 'ecmascript' },
  )
  return specifiersIn(tree).map(({ specifier, isEager }) => ({
    from,
    specifier,
    to: specifier.startsWith('.')
      ? normalize(join(dirname(from), specifier))
          .split(sep)
          .join('/')
      : undefined,
    isEager,
  }))
}

/** Walks a syntax tree for all nodes that refer to a module. There are millions of them. */
function specifiersIn(tree: object): { specifier: string; isEager: boolean }[] {
  const found: { specifier: string; isEager: boolean }[] = []
  const rest: object[] = [tree]
  for (let node = rest.pop(); node !== undefined; node = rest.pop()) {
    const [value, isEager] = referenceOf(node as Record<string, unknown>)
    const { type, value: specifier } = (value ?? {}) as { type?: string; value?: string }
    if (type === 'StringLiteral') found.push({ specifier: specifier!, isEager })
    for (const key in node) {
      const child = (node as Record<string, unknown>)[key]
      if (typeof child === 'object' && child !== null && key !== 'span') rest.push(child)
    }
  }
  return found
}

/** The syntax node of the specifier, if this one refers to a module, and whether it is loaded with the file. */
function referenceOf(node: Record<string, unknown>): [specifier: unknown, isEager: boolean] {
  switch (node['type']) {
    case 'ImportDeclaration':
    case 'ExportNamedDeclaration':
    case 'ExportAllDeclaration': {
      const named = (node['specifiers'] ?? []) as { isTypeOnly?: boolean }[]
      const areTypes =
        node['typeOnly'] === true || (named.length > 0 && named.every((one) => one.isTypeOnly))
      return [node['source'], !areTypes]
    }
    case 'CallExpression': {
      const { type, value } = node['callee'] as { type: string; value?: string }
      const [first] = node['arguments'] as { expression: unknown }[]
      if (type === 'Import') return [first?.expression, false]
      const isRequire = type === 'Identifier' && value === 'require'
      return [isRequire ? first?.expression : undefined, true]
    }
    case 'TsImportType':
      return [node['argument'], false]
    default:
      return [undefined, false]
  }
}
