# SPDX-License-Identifier: MIT
# What `cmake --install` puts where, and the Debian package that `cpack` makes of it (in the build
# folder of preset release).
include(GNUInstallDirs)
set(AWQ_SHARED ${CMAKE_INSTALL_DATADIR}/awqrun)

install(TARGETS awqrun)
install(FILES docs/awqrun.1 DESTINATION ${CMAKE_INSTALL_MANDIR}/man1)
install(FILES README.md CHANGELOG.md docs/awq.md docs/clusters.md docs/design.md docs/formats.md
  docs/models.md docs/performance.md docs/quality.md docs/resume.md docs/verify.md
  DESTINATION ${CMAKE_INSTALL_DOCDIR})
install(FILES LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR} RENAME copyright)
install(FILES slurm/quantize.sbatch slurm/array.sbatch slurm/eval.sbatch
  DESTINATION ${AWQ_SHARED}/slurm)
install(DIRECTORY jobs/examples DESTINATION ${AWQ_SHARED} FILES_MATCHING PATTERN "*.job")

# The program knows its options: it writes its completions.
foreach(shell bash zsh)
  add_custom_command(OUTPUT completion.${shell}
    COMMAND ${CMAKE_COMMAND} -E env ASAN_OPTIONS=detect_leaks=0
      $<TARGET_FILE:awqrun> completion --shell ${shell} > completion.${shell}
    DEPENDS awqrun VERBATIM)
endforeach()
add_custom_target(completions ALL DEPENDS completion.bash completion.zsh)
install(FILES ${CMAKE_BINARY_DIR}/completion.bash
  DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions RENAME awqrun)
# Where zsh looks: by itself, and as Debian packages it.
foreach(folder site-functions vendor-completions)
  install(FILES ${CMAKE_BINARY_DIR}/completion.zsh
    DESTINATION ${CMAKE_INSTALL_DATADIR}/zsh/${folder} RENAME _awqrun)
endforeach()

set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME awqrun)
set(CPACK_PACKAGE_VENDOR "the awqrun authors")
set(CPACK_PACKAGE_CONTACT "the awqrun authors <awqrun@invalid.invalid>")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "AWQ quantization of large language models over MPI")
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_STRIP_FILES ON)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SECTION science)
set(CPACK_DEBIAN_PACKAGE_DESCRIPTION
"Reads a Hugging Face checkpoint and calibration tokens, searches the scales of
every decoder layer by activation-aware weight quantization on any number of MPI
ranks, and writes a sharded 4-bit AWQ checkpoint. A run that is killed goes on
where it was.")
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
# mpirun, and what is loaded when it is used; the packages of linked libraries are added.
set(CPACK_DEBIAN_PACKAGE_DEPENDS "openmpi-bin, libopenblas0")
set(CPACK_DEBIAN_PACKAGE_RECOMMENDS openssh-client) # mpirun looks for it, on one node too
set(CPACK_DEBIAN_PACKAGE_SUGGESTS slurm-client)
include(CPack)
