import { defineConfig } from 'vite'

const daemon = process.env['CONV_URL'] ?? 'http://127.0.0.1:7878'

export default defineConfig({
  // The daemon may be mounted under any path.
  base: './',
  oxc: { jsx: { runtime: 'automatic', importSource: 'preact' } },
  build: {
    target: 'es2022',
    // From when on browsers have light-dark().
    cssTarget: ['chrome123', 'firefox120', 'safari17.5'],
    sourcemap: false,
    // No script of its own in the page: the policy allows none.
    modulePreload: { polyfill: false },
    assetsInlineLimit: 0,
    reportCompressedSize: true
  },
  // While it is worked on. Host and Origin agree, so that the daemon lets the page in.
  server: { proxy: { '/api': daemon, '/collab': { target: daemon, ws: true } } },
  test: { environment: 'node', include: ['test/**/*.test.ts'] }
} as import('vite').UserConfig)
