/**
 * The engines of tests that are the same for each. Starting PGlite takes four seconds of a processor for each file, so that only
 * `npm run test:engines` repeats these tests with it.
 */
export const TESTED_ENGINES: readonly ('upstream' | 'pglite')[] =
  process.env['PG_IAM_TIER'] === 'engines' ? ['upstream', 'pglite'] : ['upstream']
