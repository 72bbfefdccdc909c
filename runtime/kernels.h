/* Precompiled kernels that generated code calls, for the `real` of the including file: spm_NAME_f or spm_NAME_d.
 * kernels.def lists them all with their prototypes; rng.h and blas.h define the noise and gemm. None allocates.
 *
 * Elementwise: NAME_SUFFIX(n, out, operands...), one letter an operand: v, a vector of n; s, one value behind the
 * pointer. `out` may be exactly one of the operands, but not overlap one otherwise. For scalars alone use n = 1.
 *
 * Sums are made in double, in float too, and do not depend on alignment or on the compiler: in `sum` and `dot` element
 * i goes to lane i mod 16, and lanes are added in a fixed tree (lane j + lane j + 8, then 4, 2, 1). fill(n, out, value)
 * copy(n, out, in)  memory must not overlap accumulate_v(n, out, a)          out += a;     accumulate_s(n, out, a) out
 * += *a accumulate_mul_vv(n, out, a, b)  out += a * b; accumulate_mul_vs(n, out, a, b)  out += a * *b sum(n, a), dot(n,
 * a, b)          0 for n = 0 maximum(n, a)                    -inf for n = 0; NaN if any is Along the middle of [outer,
 * n, inner]: reduce_sum(outer, n, inner, out, in), reduce_max(...)   out [outer, inner] first_max_mask(outer, n, inner,
 * out, in)                1 at the first maximum (or the first NaN), else 0 cumsum(outer, n, inner, reverse, exclusive,
 * out, in)    may be in place Rank at most 12, sizes and strides in elements, row-major: copy_strided(rank, sizes, out,
 * in, in_strides)          out contiguous; a stride of 0 broadcasts; any order permutes accumulate_strided(rank, sizes,
 * out, out_strides, in)   out += in, in contiguous; a stride of 0 sums contract_naive(rank, sizes, out, out_strides, a,
 * a_strides, b, b_strides) out += sum of a * b over all of the index space; where a dim has stride 0 in out it is
 * summed. The slow fallback for products that no gemm fits; fastest with the summed dim, or one contiguous in out and
 * b, last. Matrices [n, n]: cholesky(n, out, a)              the lower factor, zeros above; NaN from the first pivot
 * that is not positive on. Reads the lower part of a; may be in place solve_triangular(n, m, transpose, out, l, b)  out
 * [n, m] of l out = b, or of l' out = b. Reads the lower part of l; may be in place (out = b)
 *
 * The largest of a line, or of a batch; *count is rounded, NaN counts as the largest, among equals the first are taken:
 * top_mask(n, out, in, count)  1 for the `count` largest of n, else 0
 * last_taken(rows, groups, n, out, in, count)  in [rows, groups, n], for each group over rows and n; out [groups, 3]
 * says how far mark_taken(rows, first, groups, n, out, in, last) is to take them, in any tile of rows from `first` on
 *
 * sparsemax(n, out, in), entmax(n, out, in, alpha)  the vector's projection onto the simplex, alpha > 1 (2: sparsemax)
 *
 * Convolution of images x [c, h, w] with filters w [m, c, k, l] to features y [m, p, q]; `sizes` and the length of
 * `work` are convolve.h's. convolve and convolve_transpose set their result, convolve_filters adds to it.

 *
 * Categories x [n], from `first` on, under softmax(w f + b): f [n, rank], w [length, rank], b [length]; `work` is memory
 * of 2 (rank + 1) reals for each of the categories, their number rounded up to 16:
 * low_rank_fit(n, rank, length, first, out, work, f, w, b, x)  out [n, 1 + rank]: log probabilities, their slopes in f
 * low_rank_weights(n, rank, length, first, out, work, f, w, b, x, fit, g)  out [length, rank + 1] += g times the slopes
 * in w and in b; fit: what low_rank_fit said. Lines whose x is no category, or whose g is 0, count nothing.
 *
 * Subsets S of n members, P(S) proportional to exp(sum of a over S), for sizes 0 .. m - 1; `room` is memory to work in:
 * subset_moments(n, m, out, room, a, c)  out [2, m]: log of the sum over subsets of size j, and the mean sum of c
 there;
 * -1e30 and 0 where j > n.                                        5 m
 * subset_moments_slope(n, m, out, room, a, c, g)  out [2, n]: adjoints of a and c for those g [2, m]. (2 n + 7) m + 4
 * subset_inclusion(n, m, out, room, a, weight)  sum over j of weight[j] P(k in S | size j).    (n + 3) m + 2
 * subset_draw(n, m, out, room, a, u, size)      ones for the members drawn, at most m - 1.      (n + 2) m
 *
 * m picks without replacement by softmax((keys + left) / temperature) of n, left being the log of what those before left
 * of each, or of the largest (temperature 0); after n of them there are no more:
 * relaxed_subset(n, m, out, room, keys, gates, temperature)  1 - product of (1 - gate * pick)                     2 n
 * relaxed_subset_slope(n, m, out, room, keys, gates, temperature, g)  out [n + m + 1]: their adjoints   (3 m + 3) n + 4 m
 * picks_kl(n, m, out, room, keys, a, b, temperature)  out [m]: KL of softmax(a + left) to softmax(b + left)       4 n
 * picks_kl_slope(n, m, out, room, keys, a, b, temperature, g)  out [3 n + 1]: their adjoints              (4 m + 2) n + 4 m
 *
 * Sparse distributions over bit vectors (sparse.h); a member is a line of its bits and its weight, `room` is memory of
 * spm_members_room reals:
 * top_k_members(n, m, out, room, scores)        out [m, n + 1]; lines of 0 where the support is smaller than m
 * sparsemap_members(n, m, out, room, scores, start)  out [n + 1, n + 1], with at most m bits set in a member
 * sparsemap_slope(n, m, out, room, table, g)    out [n - 1]: adjoint of the scores for those g of the weights in a table
 * [m, n] of sparsemap_members */
#ifndef SPM_KERNELS_H
#define SPM_KERNELS_H

#include "real.h"

enum { SPM_KERNEL_MAX_RANK = 12 };

#define X(result, name, arguments) result SPM_K(name) arguments;
#include "kernels.def"
#undef X

/* All of them by symbol name, for code compiled at run time; ends with a NULL name. */
struct spm_kernel_symbol {
  const char *name; /* "spm_exp_v_f" */
  void (*address)(void);
};
extern const struct spm_kernel_symbol SPM_K(kernel_symbols)[];

#endif
