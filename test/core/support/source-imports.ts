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

/** Walks a syntax tree for all nodes that refer to a module. */
function specifiersIn(node: unknown): { specifier: string; isEager: boolean }[] {
  if (Array.isArray(node)) return node.flatMap(specifiersIn)
  if (typeof node !== 'object' || node === null) return []
  const { type, source, typeOnly, specifiers, callee, argument } = node as Record<string, unknown>
  const inside = Object.values(node).flatMap(specifiersIn)
  const text = (value: unknown): string | undefined => {
    const { type: kind, value: content } = (value ?? {}) as { type?: string; value?: string }
    return kind === 'StringLiteral' ? content : undefined
  }
  const found = (specifier: string | undefined, isEager: boolean): typeof inside =>
    typeof specifier === 'string' ? [{ specifier, isEager }, ...inside] : inside
  switch (type) {
    case 'ImportDeclaration':
    case 'ExportNamedDeclaration':
    case 'ExportAllDeclaration': {
      const named = (specifiers ?? []) as { isTypeOnly?: boolean }[]
      const areTypes =
        typeOnly === true || (named.length > 0 && named.every((one) => one.isTypeOnly === true))
      return found(text(source), !areTypes)
    }
    case 'CallExpression': {
      const { type: kind, value: name } = callee as { type: string; value?: string }
      const [first] = (node as { arguments: { expression: unknown }[] }).arguments
      if (kind === 'Import') return found(text(first?.expression), false)
      return kind === 'Identifier' && name === 'require'
        ? found(text(first?.expression), true)
        : inside
    }
    case 'TsImportType':
      return found(text(argument), false)
    default:
      return inside
  }
}
