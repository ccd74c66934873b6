/** Lets the example find MikroORM in this folder: `node --import ./test/mikro-orm/resolve.mjs build/examples/run.js mikro-orm`. */
import { registerHooks } from 'node:module'

const example = new URL('../../build/examples/mikro-orm.js', import.meta.url).href
registerHooks({
  resolve: (specifier, context, next) =>
    next(
      specifier,
      context.parentURL === example && specifier.startsWith('@mikro-orm/')
        ? { ...context, parentURL: import.meta.url }
        : context,
    ),
})
