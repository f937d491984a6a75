# Run at every build: cmake -DSOURCE=... -DOUTPUT=... -DVERSION=... -P GitVersion.cmake
# Writes OUTPUT only when its text changes. The date is the commit's, so that builds are repeatable.
function(git_answer out fallback)
  execute_process(COMMAND git -C ${SOURCE} ${ARGN}
    OUTPUT_VARIABLE answer ERROR_QUIET OUTPUT_STRIP_TRAILING_WHITESPACE RESULT_VARIABLE status)
  if(NOT status EQUAL 0)
    set(answer ${fallback})
  endif()
  set(${out} "${answer}" PARENT_SCOPE)
endfunction()

git_answer(commit unknown rev-parse --short=8 HEAD)
git_answer(date unknown show -s --format=%cs HEAD)
git_answer(changes unknown status --porcelain --untracked-files=no)
if(changes STREQUAL "")
  set(tree clean)
elseif(commit STREQUAL "unknown")
  set(tree unknown)
else()
  set(tree dirty)
endif()
set(text "#pragma once
#define CUPULE_VERSION \"${VERSION}\"
#define CUPULE_COMMIT \"${commit}\"
#define CUPULE_TREE \"${tree}\"
#define CUPULE_COMMIT_DATE \"${date}\"
")
if(EXISTS ${OUTPUT})
  file(READ ${OUTPUT} old)
endif()
if(NOT "${old}" STREQUAL "${text}")
  file(WRITE ${OUTPUT} "${text}")
endif()
