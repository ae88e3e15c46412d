package clhaystack;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Comparator;
import java.util.List;
import java.util.stream.Stream;

/** Removes the home of a node whose owner can no longer do it. */
final class Folders {
    private Folders() {}

    /** Deletes a folder with all it holds, and its parent once that is empty. Links are removed, not followed. */
    static void delete(Path folder) {
        try (Stream<Path> paths = Files.walk(folder)) {
            List<Path> deepestFirst = paths.sorted(Comparator.reverseOrder()).toList();
            for (Path path : deepestFirst) {
                Files.deleteIfExists(path);
            }
            Files.deleteIfExists(folder.toAbsolutePath().getParent());
        } catch (IOException problem) {
            System.err.println("cannot delete " + folder + ": " + problem);
        }
    }
}
