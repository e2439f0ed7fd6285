import { defineConfig } from 'vite'

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
  test: { environment: 'node', include: ['test/**/*.test.ts'] }
} as import('vite').UserConfig)
