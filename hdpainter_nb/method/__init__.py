"""The paper: pure functions on tensors and arrays, each of which says its equation.

========= =================================================== ========================
equation  function                                            switches of `Settings`
========= =================================================== ========================
3         `ddim.ddim_step`; its sigma: `ddim.sigma`           1, 2, 13
4         `ddim.deterministic_step`
5         `painta.c_scores`, `key_scale`, `painta_attention`  9, 10, 11; when: 12
6         `rasg.vanilla`                                      3
7         `rasg.noise`                                        2, 3, 6
8         `objectives.mean_over_layers` of `attention.mean_scores`
9         `objectives.bce`                                    4, 5, 7
10        `blending.blend_known`; its mask: `soft_mask`
11        `objectives.attend_excite`                          7
App. B    `painta.mean_similarity`, `rescaled`
========= =================================================== ========================

The masks that eq. 5, eq. 9 and the UNet read come from `masks` (switches 7 to 9). What puts all of
it in order is `hdpainter_nb.sampling.step.InpaintStep`. `blending` also holds the masks that shrink
to a thin hole, of Blended Latent Diffusion (`BASELINES`).
"""
