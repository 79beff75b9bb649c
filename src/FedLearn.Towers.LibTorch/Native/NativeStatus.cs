using System.Runtime.InteropServices;
using FedLearn.Diagnostics;

namespace FedLearn.Towers.LibTorch.Native;

/// <summary>Turns a status of the native library into an exception.</summary>
internal static class NativeStatus
{
    /// <summary>Something does not fit the tower: a module, or the bytes of a training.</summary>
    internal const int DoesNotFit = 5;

    private const int Misuse = 1, OutOfMemory = 2, Unreadable = 4, ModuleFailed = 6;

    /// <summary>Throws unless the status is 0; frees the message.</summary>
    internal static void Check(int status, nint message, string place = "towers on libtorch")
    {
        if (status == 0)
            return;
        string text = Take(message) ?? "No reason was given.";
        throw status switch
        {
            Misuse => new InvalidOperationException(text),
            OutOfMemory => Failed("There is not enough memory.", "Use smaller batches or a smaller tower."),
            Unreadable => new ConfigurationException(LibTorchErrors.ModuleUnreadable, place, text, "Give a module that torch.jit.load reads, or text that TorchScript compiles."),
            DoesNotFit => new ConfigurationException(LibTorchErrors.ModuleDoesNotFit, place, text, "Correct the module's forward, or the inputs and the last layer of the tower."),
            ModuleFailed => new InternalFailureException(LibTorchErrors.ModuleFailed, place, "The module failed on a batch. Its own text is withheld, since it may show rows.",
                "Run the module in PyTorch on rows that are public and of the same shape."),
            _ => Failed(text, "Report it with the versions of libtorch and of this package."),
        };
        InternalFailureException Failed(string cause, string remedy) => new(LibTorchErrors.NativeFailed, place, cause, remedy);
    }

    /// <summary>Copies and frees a text of the native library.</summary>
    internal static string? Take(nint text)
    {
        if (text == 0)
            return null;
        string? copy = Marshal.PtrToStringUTF8(text);
        NativeMethods.fl_free(text);
        return copy;
    }
}
