/**
 * The path of the worker file, which does not exist if pg-iam is bundled. This is a CommonJS module in both builds, because it needs its
 * own path, and `import.meta` is not allowed in the CommonJS build of an ES module.
 */
export declare const workerFile: string
// `__dirname` does not exist in a bundle that is an ES module.
exports.workerFile = typeof __dirname === 'string' ? `${__dirname}/worker.js` : 'worker.js'
