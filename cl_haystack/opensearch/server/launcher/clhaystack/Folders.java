package clhaystack;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Comparator;
import java.util.List;
import java.util.stream.Stream;

/** Removes the home of a node whose owner can no longer do it. */
final class Folders {
    private static final int ATTEMPTS = 20;
    private static final long PAUSE_MILLISECONDS = 200;

    private Folders() {}

    /** Deletes a folder with all it holds, and its parent once that is empty. Links are removed, not followed. */
    static void delete(Path folder) {
        for (int attempt = 0; attempt < ATTEMPTS && Files.exists(folder); attempt++) {
            try {
                deleteOnce(folder);
            } catch (IOException | UncheckedIOException problem) {
                pause(); // a node that was still booting has added a file meanwhile
            }
        }
        try {
            Files.deleteIfExists(folder.toAbsolutePath().getParent());
        } catch (IOException problem) {
            return; // another node of the cluster is still there, and will do it
        }
    }

    private static void deleteOnce(Path folder) throws IOException {
        try (Stream<Path> paths = Files.walk(folder)) {
            List<Path> deepestFirst = paths.sorted(Comparator.reverseOrder()).toList();
            for (Path path : deepestFirst) {
                Files.deleteIfExists(path);
            }
        }
    }

    private static void pause() {
        try {
            Thread.sleep(PAUSE_MILLISECONDS);
        } catch (InterruptedException problem) {
            Thread.currentThread().interrupt();
        }
    }
}
