/**
 * Where the worker's file is. A CommonJS module in both builds, because only there a file can tell its own place without
 * `import.meta`, which the CommonJS build of an ES module may not hold.
 */
export declare const workerFile: string
exports.workerFile = `${__dirname}/worker.js`
