/**
 * Where the worker's file is; where pg-iam is in a bundle there is no such file. A CommonJS module in both builds, because only there a file can tell its own place without
 * `import.meta`, which the CommonJS build of an ES module may not hold.
 */
export declare const workerFile: string
// A bundle that is an ES module has no `__dirname`.
exports.workerFile = typeof __dirname === 'string' ? `${__dirname}/worker.js` : 'worker.js'
